# Training: one job a model, seed and fold, so that folds run side by side; then the figures over all of them.
rule train:
    input:
        store=STORE,
        # A changed file is another beginning; none, no input.
        weights=CONFIG.fusion.audio_weights or [],
    output:
        model=f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/model.safetensors",
        card=f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/model.json",
        predictions=f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/predictions.csv",
        attention=f"{OUT}/fusion/{{model}}/seed{{seed}}/{{fold}}/attention.h5",
    log:
        f"{OUT}/logs/train/{{model}}-seed{{seed}}-{{fold}}.log",
    benchmark:
        f"{OUT}/benchmarks/train/{{model}}-seed{{seed}}-{{fold}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        device=CONFIG.device,
    params:
        folder=subpath(output.model, parent=True),
        settings=CONFIG.fusion.model_dump_json(by_alias=True),
        version=VERSIONS["fusion"],
        fold=lambda wildcards: wildcards.fold,
        division=one_line(lambda wildcards: division(PLAN.fold(wildcards.fold))),
    shell:
        "deepfusion --log {log:q} train --store {input.store:q} --model {wildcards.model:q} --seed {wildcards.seed:q}"
        " --fold {params.fold:q} {params.division:q} --settings {params.settings:q}"
        " --device {resources.device:q} --threads {threads:q} --out {params.folder:q}"


# The model to use on new clips: nobody is left to test it on, so it has no figure of its own.
use rule train as train_everyone with:
    output:
        model=f"{OUT}/fusion/{{model}}/seed{{seed}}/everyone/model.safetensors",
        card=f"{OUT}/fusion/{{model}}/seed{{seed}}/everyone/model.json",
    log:
        f"{OUT}/logs/train/{{model}}-seed{{seed}}-everyone.log",
    benchmark:
        f"{OUT}/benchmarks/train/{{model}}-seed{{seed}}-everyone.tsv"
    params:
        folder=subpath(output.model, parent=True),
        settings=CONFIG.fusion.model_dump_json(by_alias=True),
        version=VERSIONS["fusion"],
        fold="everyone",
        division=one_line(lambda wildcards: division(PLAN.everyone)),


rule evaluate:
    input:
        # A function: extraction must not fail where the folds do not fit the speakers.
        one_line(
            lambda wildcards: expand(
                f"{OUT}/fusion/{wildcards.model}/seed{{seed}}/{{fold}}/predictions.csv",
                seed=CONFIG.protocol.seeds,
                fold=PLAN.folds,
            )
        ),
    output:
        predictions=f"{OUT}/fusion/{{model}}/predictions.csv",
        metrics=f"{OUT}/fusion/{{model}}/metrics.json",
    log:
        f"{OUT}/logs/evaluate/{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks/evaluate/{{model}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=1000,
    params:
        folder=subpath(output.metrics, parent=True),
        # What a failed training has on record must not make an old evaluation look current.
        depends=lambda wildcards: [PLAN.digest, CONFIG.fusion.model_dump_json()],
    shell:
        "deepfusion --log {log:q} evaluate {input:q} --out {params.folder:q}"


rule results:
    input:
        expand(f"{OUT}/fusion/{{model}}/metrics.json", model=CONFIG.protocol.models),
    output:
        f"{OUT}/fusion/results.json",
    log:
        f"{OUT}/logs/results.log",
    benchmark:
        f"{OUT}/benchmarks/results.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=500,
    shell:
        "deepfusion --log {log:q} results --out {output:q} {input:q}"


# The fusion study: all heads of all folds and seeds in one job, for they train together.
rule study:
    input:
        store=STORE,
    output:
        predictions=f"{OUT}/fusion/study/{{normalisation}}/predictions.csv",
        choices=f"{OUT}/fusion/study/{{normalisation}}/choices.json",
        attention=f"{OUT}/fusion/study/{{normalisation}}/attention.h5",
    log:
        f"{OUT}/logs/study/{{normalisation}}.log",
    benchmark:
        f"{OUT}/benchmarks/study/{{normalisation}}.tsv"
    wildcard_constraints:
        normalisation="training|speaker",
    conda:
        "../../envs/deepfusion.yaml"
    # Its heads are shared out among the threads; their number changes none of them.
    threads: max(1, (workflow.cores or 1) // len(CONFIG.study.normalisation))
    resources:
        mem_mb=6000,
        device=CONFIG.device,
    params:
        folder=subpath(output.predictions, parent=True),
        settings=CONFIG.study.model_dump_json(
            by_alias=True, exclude={"normalisation", "seeds"}
        ),
        version=VERSIONS["fusion"],
        seeds=[text for seed in CONFIG.study.seeds for text in ("--seed", seed)],
        # A function: extraction must not fail where the folds do not fit the speakers.
        folds=one_line(lambda wildcards: PLAN.folds_json),
    shell:
        "deepfusion --log {log:q} study --store {input.store:q} --folds {params.folds:q} {params.seeds:q}"
        " --normalisation {wildcards.normalisation:q} --settings {params.settings:q}"
        " --device {resources.device:q} --threads {threads:q} --out {params.folder:q}"


rule study_results:
    input:
        expand(
            f"{OUT}/fusion/study/{{normalisation}}/choices.json",
            normalisation=CONFIG.study.normalisation,
        ),
    output:
        f"{OUT}/fusion/study.json",
    log:
        f"{OUT}/logs/study.log",
    benchmark:
        f"{OUT}/benchmarks/study.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=1000,
    params:
        depends=lambda wildcards: [PLAN.digest, CONFIG.study.model_dump_json()],
        folders=lambda wildcards, input: [str(Path(file).parent) for file in input],
    shell:
        "deepfusion --log {log:q} study-results --out {output:q} {params.folders:q}"


rule report:
    input:
        study=rules.study_results.output,
        store=STORE,
    output:
        f"{OUT}/report.html",
    log:
        f"{OUT}/logs/report.log",
    benchmark:
        f"{OUT}/benchmarks/report.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=1000,
    shell:
        "deepfusion --log {log:q} report {input.study:q} --store {input.store:q} --out {output:q}"
