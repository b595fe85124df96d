# Frames -> face tracks: one job per shard. `rows` and `depends` are files that planning writes only where they change.
rule faces:
    input:
        rows=lambda wildcards: str(PLAN.rows(wildcards.shard)),
        depends=str(PLAN.settings("faces")),
        clips=lambda wildcards: PLAN.media("faces", wildcards.shard),
    output:
        f"{OUT}/shards/faces/{{shard}}.h5",
    log:
        f"{OUT}/logs/faces/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/faces/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    # Few shards: several clips of one at a time, so that about four rounds of jobs fill the cores to the end.
    threads: min(workflow.cores or 1, -(-4 * (workflow.cores or 1) // max(len(SHARDS), 1)))
    resources:
        mem_mb=lambda wildcards, threads: 1000 * threads,
    params:
        settings=PLAN.tracking_json,
        limits=CONFIG.limits.model_dump_json(),
        version=VERSIONS["faces"],
    shell:
        "deepfusion --log {log:q} faces --clips {input.rows:q} --settings {params.settings:q} --limits {params.limits:q} --workers {threads:q}"
        " --out {output:q}"
