# Estimates the cost of an extraction before it starts. It has no output file, so it runs every time it is requested.
rule preflight:
    input:
        manifest=here(PLAN.manifest),
        clips=lambda wildcards: here(
            [file for shard in SHARDS for file in PLAN.media("faces", shard)]
        ),
    log:
        f"{OUT}/logs/preflight.log",
    conda:
        "../../envs/deepfusion.yaml"
    threads: threads_of(1)
    resources:
        mem_mb=lambda wildcards, threads, attempt: (1000 + 200 * threads) * attempt,
        runtime=minutes(60),
        gpu=gpu,
        device=CONFIG.device,
        engine=CONFIG.engine,
    params:
        manifest=lambda wildcards: str(PLAN.manifest),
        config=PLAN.extraction_json,
    shell:
        "deepfusion --log {log:q} preflight --manifest {params.manifest:q} --config {params.config:q}"
        " --device {resources.device:q} --engine {resources.engine:q} --cores {threads:q}"
