# FER2013 -> fine-tuned face networks. The package contains their weights, so no other rule needs these.
rule prepare_fer2013:
    input:
        unpack(fer2013),
    output:
        "results/finetune/fer2013.npz",
    log:
        "results/finetune/logs/fer2013.log",
    conda:
        "../../envs/deepfusion.yaml"
    threads: 2
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(60),
    params:
        votes=lambda wildcards, input: (
            ["--votes", input.votes] if input.get("votes") else []
        ),
    shell:
        "deepfusion --log {log:q} prepare-fer2013 --data {input.data:q} {params.votes:q} --threads {threads:q} --out {output:q}"


# An interrupted job resumes after its last complete epoch. The checkpoint is not an output, so Snakemake does not delete it.
rule finetune_network:
    input:
        rules.prepare_fer2013.output,
    output:
        model="results/finetune/{network}/model.safetensors",
        card="results/finetune/{network}/model.json",
        curve="results/finetune/{network}/curve.csv",
    log:
        "results/finetune/logs/{network}.log",
    wildcard_constraints:
        network="[a-z0-9-]+",
    conda:
        "../../envs/deepfusion.yaml"
    threads: 1
    resources:
        mem_mb=megabytes(6000),
        runtime=minutes(2880),
        gpu=gpu,
        device=CONFIG.device,
    params:
        folder=subpath(output.model, parent=True),
        settings=own_recipe,
    shell:
        "deepfusion --log {log:q} finetune --data {input:q} --network {wildcards.network:q} --settings {params.settings:q}"
        " --device {resources.device:q} --threads {threads:q} --out {params.folder:q}"


rule finetune:
    input:
        expand("results/finetune/{network}/model.json", network=CONFIG.finetune.recipes),
