# What the extraction will take, before it starts. It makes no file, so it runs whenever it is asked for.
rule preflight:
    input:
        manifest=MANIFEST,
    log:
        f"{OUT}/logs/preflight.log",
    conda:
        "../../envs/deepfusion.yaml"
    threads: workflow.cores
    resources:
        mem_mb=2000,
        device=CONFIG.device,
        engine=CONFIG.engine,
    params:
        config=PLAN.extraction_json,
    shell:
        "deepfusion --log {log} preflight --manifest {input.manifest} --config {params.config:q}"
        " --device {resources.device} --engine {resources.engine} --cores {threads}"
