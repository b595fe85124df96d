import shlex


# Training: one job a model, seed and fold, so that folds run side by side; then the figures over all of them.
rule train:
    input:
        store=rules.store.output,
    output:
        f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/predictions.csv",
        f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/model.safetensors",
        f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/model.json",
    params:
        settings=CONFIG.fusion.model_dump_json(by_alias=True),
        test=lambda wildcards: [f"--test {shlex.quote(who)}" for who in PLAN.test_speakers(wildcards.fold)],
    log:
        f"{OUT}/logs/train/{{model}}-seed{{seed}}-{{fold}}.log",
    benchmark:
        f"{OUT}/benchmarks/train/{{model}}-seed{{seed}}-{{fold}}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    conda:
        "../../envs/deepfusion.yaml"
    shell:
        "deepfusion --log {log} train --store {input.store} --model {wildcards.model} --seed {wildcards.seed}"
        " --fold {wildcards.fold} {params.test} --settings {params.settings:q}"
        " --device {CONFIG.device} --threads {threads} --out {OUT}/fusion/{wildcards.model}/seed{wildcards.seed}/{wildcards.fold}"


# The model to use on new clips: nobody is left to test it on, so it has no figure of its own.
use rule train as train_everyone with:
    output:
        f"{OUT}/fusion/{{model}}/seed{{seed}}/everyone/model.safetensors",
        f"{OUT}/fusion/{{model}}/seed{{seed}}/everyone/model.json",
    params:
        settings=CONFIG.fusion.model_dump_json(by_alias=True),
        test="",
    log:
        f"{OUT}/logs/train/{{model}}-seed{{seed}}-everyone.log",
    benchmark:
        f"{OUT}/benchmarks/train/{{model}}-seed{{seed}}-everyone.tsv"


rule evaluate:
    input:
        expand(
            f"{OUT}/fusion/{{{{model}}}}/seed{{seed}}/{{fold}}/predictions.csv",
            seed=CONFIG.protocol.seeds,
            fold=PLAN.folds,
        ),
    output:
        predictions=f"{OUT}/fusion/{{model}}/predictions.csv",
        metrics=f"{OUT}/fusion/{{model}}/metrics.json",
    log:
        f"{OUT}/logs/evaluate/{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks/evaluate/{{model}}.tsv"
    resources:
        mem_mb=1000,
    conda:
        "../../envs/deepfusion.yaml"
    shell:
        "deepfusion --log {log} evaluate {input} --out {OUT}/fusion/{wildcards.model}"


rule results:
    input:
        expand(f"{OUT}/fusion/{{model}}/metrics.json", model=CONFIG.protocol.models),
    output:
        f"{OUT}/fusion/results.json",
    log:
        f"{OUT}/logs/results.log",
    benchmark:
        f"{OUT}/benchmarks/results.tsv"
    resources:
        mem_mb=500,
    conda:
        "../../envs/deepfusion.yaml"
    shell:
        "deepfusion --log {log} results --out {output} {input}"
