# Spectrograms -> positions of the pre-trained audio encoder: one job per shard. The media are not read again.
AUDIO = ["spectrogram"] if PLAN.no_encoder else ["spectrogram", "AF"]


rule audio_encoder:
    input:
        depends=here(PLAN.settings("audio_encoder")),
        spectrograms=rules.spectrogram.output,
    output:
        f"{OUT}/shards/AF/{{shard}}.h5",
    log:
        f"{OUT}/logs/audio_encoder/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/audio_encoder/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(2000),
        runtime=minutes_of_shard,
    params:
        settings=CONFIG.audio_encoder.model_dump_json(),
        sha256=encoder_sha256,
        version=VERSIONS["audio_encoder"],
    shell:
        "deepfusion --log {log:q} audio-encoder --spectrograms {input.spectrograms:q} --settings {params.settings:q}"
        " --threads {threads:q} --out {output:q}"
