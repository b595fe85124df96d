# Frames -> face tracks: one job a shard. The manifest is `ancient`: a clip added to it makes no other shard stale,
# because `rows` says what this shard takes from it.
rule faces:
    input:
        manifest=ancient(MANIFEST),
        clips=lambda wildcards: PLAN.media(wildcards.shard),
    output:
        # `update`: a shard whose key still fits is kept by the command instead of made again.
        update(f"{OUT}/shards/faces/{{shard}}.h5"),
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
        rows=lambda wildcards: PLAN.rows(wildcards.shard),
        clips=lambda wildcards: PLAN.rows_digest(wildcards.shard),
        settings=CONFIG.faces.model_dump_json(),
        version=VERSIONS["faces"],
    shell:
        "deepfusion --log {log} faces --manifest {input.manifest} --rows {params.rows}"
        " --settings {params.settings:q} --workers {threads} --out {output}"
