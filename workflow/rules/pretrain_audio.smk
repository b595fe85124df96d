# Emotional speech -> the audio encoder. The package contains its weights, so no other rule needs these.
rule prepare_speech:
    input:
        speech,
    output:
        "results/pretrain_audio/speech.h5",
    log:
        "results/pretrain_audio/logs/speech.log",
    conda:
        "../../envs/deepfusion.yaml"
    threads: 2
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(240),
    params:
        settings=CONFIG.pretrain_audio.model_dump_json(
            include={"corpora", "unseen", "labels", "merged"}
        ),
        spectrogram=CONFIG.spectrogram.model_dump_json(),
        # A replaced file makes the spectrograms stale.
        stamps=one_line(lambda wildcards: stamps(Path(speech(wildcards)))),
    shell:
        "deepfusion --log {log:q} prepare-speech --manifest {input:q} --settings {params.settings:q}"
        " --spectrogram {params.spectrogram:q} --threads {threads:q} --out {output:q}"


# An interrupted job resumes after its last complete epoch. The checkpoint is not an output, so Snakemake does not delete it.
rule pretrain_audio:
    input:
        rules.prepare_speech.output,
    output:
        model="results/pretrain_audio/encoder.safetensors",
        card="results/pretrain_audio/encoder.json",
        curve="results/pretrain_audio/curve.csv",
    log:
        "results/pretrain_audio/logs/encoder.log",
    conda:
        "../../envs/deepfusion.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(2880),
        gpu=gpu,
        device=CONFIG.device,
    params:
        folder=subpath(output.model, parent=True),
        settings=CONFIG.pretrain_audio.model_dump_json(exclude={"manifest"}),
    shell:
        "deepfusion --log {log:q} pretrain-audio --data {input:q} --settings {params.settings:q}"
        " --device {resources.device:q} --threads {threads:q} --out {params.folder:q}"
