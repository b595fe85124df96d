# Sound -> spectrograms: one job a shard.
rule spectrogram:
    input:
        manifest=ancient(MANIFEST),
        clips=lambda wildcards: PLAN.media(wildcards.shard),
    output:
        update(f"{OUT}/shards/spectrogram/{{shard}}.h5"),
    log:
        f"{OUT}/logs/spectrogram/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/spectrogram/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=1000,
    params:
        rows=lambda wildcards: PLAN.rows(wildcards.shard),
        clips=lambda wildcards: PLAN.rows_digest(wildcards.shard),
        settings=CONFIG.spectrogram.model_dump_json(),
        dtype=CONFIG.store.dtype,
        version=VERSIONS["spectrogram"],
    shell:
        "deepfusion --log {log} spectrogram --manifest {input.manifest} --rows {params.rows}"
        " --settings {params.settings:q} --dtype {params.dtype} --out {output}"
