# Frames -> face tracks: one job per shard. `rows` and `depends` are files that planning writes only where they change.
rule faces:
    input:
        rows=lambda wildcards: here(PLAN.rows(wildcards.shard)),
        depends=here(PLAN.settings("faces")),
        clips=lambda wildcards: here(PLAN.media("faces", wildcards.shard)),
    output:
        f"{OUT}/shards/faces/{{shard}}.h5",
    log:
        f"{OUT}/logs/faces/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/faces/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    # Few shards: several clips of one at a time, so that about four rounds of jobs fill the cores to the end.
    threads: threads_of(len(SHARDS) / 4, math.ceil)
    resources:
        mem_mb=lambda wildcards, threads, attempt: 1000 * threads * attempt,
        runtime=minutes_of_shard,
    params:
        # Its paths are relative to where it is: a copy on scratch would name other files.
        rows=lambda wildcards: str(PLAN.rows(wildcards.shard)),
        settings=PLAN.tracking_json,
        limits=CONFIG.limits.model_dump_json(),
        version=VERSIONS["faces"],
    shell:
        "deepfusion --log {log:q} faces --clips {params.rows:q} --settings {params.settings:q} --limits {params.limits:q} --workers {threads:q}"
        " --out {output:q}"
