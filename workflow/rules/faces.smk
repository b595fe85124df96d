# Frames -> face tracks: one job per shard. Planning rewrites the files `rows` and `depends` only if their content changes.
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
    # With few shards, each job processes several clips in parallel, so that the cores stay busy in about four rounds of jobs.
    threads: threads_of(len(SHARDS) / 4, math.ceil)
    resources:
        mem_mb=lambda wildcards, threads, attempt: 1000 * threads * attempt,
        runtime=minutes_of_shard,
    params:
        # The original, not a copy on scratch: its paths are relative to its folder.
        rows=lambda wildcards: str(PLAN.rows(wildcards.shard)),
        settings=PLAN.tracking_json,
        limits=CONFIG.limits.model_dump_json(),
        version=VERSIONS["faces"],
    shell:
        "deepfusion --log {log:q} faces --clips {params.rows:q} --settings {params.settings:q} --limits {params.limits:q} --workers {threads:q}"
        " --out {output:q}"
