# All shards -> one store that opens as one file.
rule store:
    input:
        manifest=rules.manifest.output,
        shards=expand(f"{OUT}/shards/{{stage}}/{{shard}}.h5", stage=["faces", *SLOTS, "spectrogram"], shard=PLAN.shards),
    output:
        f"{OUT}/features.h5",
    params:
        config=CONFIG.model_dump_json(exclude={"fusion", "protocol", "device"}, by_alias=True),
    log:
        f"{OUT}/logs/store.log",
    benchmark:
        f"{OUT}/benchmarks/store.tsv"
    resources:
        mem_mb=1000,
    conda:
        "../../envs/deepfusion.yaml"
    shell:
        "deepfusion --log {log} store --manifest {input.manifest} --shards {OUT}/shards --config {params.config:q}"
        " --out {output}"
