# All shards -> one store that opens as one file.
rule store:
    input:
        manifest=MANIFEST,
        shards=expand(
            f"{OUT}/shards/{{stage}}/{{shard}}.h5",
            stage=["faces", *SLOTS, "spectrogram"],
            shard=SHARDS,
        ),
    output:
        f"{OUT}/features.h5",
    log:
        f"{OUT}/logs/store.log",
    benchmark:
        f"{OUT}/benchmarks/store.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=1000,
    params:
        shards=lambda wildcards, input: Path(input.shards[0]).parents[1],
        config=PLAN.extraction_json,
    shell:
        "deepfusion --log {log} store --manifest {input.manifest} --shards {params.shards} --config {params.config:q}"
        " --out {output}"
