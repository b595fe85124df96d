# Audio -> spectrograms: one job per shard.
rule spectrogram:
    input:
        rows=lambda wildcards: here(PLAN.rows(wildcards.shard)),
        depends=here(PLAN.settings("spectrogram")),
        clips=lambda wildcards: here(PLAN.media("spectrogram", wildcards.shard)),
    output:
        f"{OUT}/shards/spectrogram/{{shard}}.h5",
    log:
        f"{OUT}/logs/spectrogram/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/spectrogram/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes_of_shard,
    params:
        # The original, not a copy on scratch: its paths are relative to its folder.
        rows=lambda wildcards: str(PLAN.rows(wildcards.shard)),
        settings=CONFIG.spectrogram.model_dump_json(),
        dtype=CONFIG.store.dtype,
        limits=CONFIG.limits.model_dump_json(),
        version=VERSIONS["spectrogram"],
    shell:
        "deepfusion --log {log:q} spectrogram --clips {params.rows:q} --settings {params.settings:q} --limits {params.limits:q}"
        " --dtype {params.dtype:q} --out {output:q}"
