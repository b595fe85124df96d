# Training on the store: train_fbp, the fusion study, and their report pages. One job trains all folds and seeds.
FBP = f"{OUT}/fusion/fbp"
STUDY = f"{OUT}/fusion/study/{{normalisation}}"
RESULTS = {
    "metrics": "metrics.json",
    "predictions": "predictions.csv",
    "choices": "choices.json",
    "attention": "attention.h5",
}


report: "../report/workflow.rst"


rule fbp:
    input:
        store=STORE,
    output:
        **{name: f"{FBP}/{file}" for name, file in RESULTS.items()},
        model=f"{FBP}/model/model.safetensors",
        card=f"{FBP}/model/model.json",
    log:
        f"{OUT}/logs/fbp.log",
    benchmark:
        f"{OUT}/benchmarks/fbp/all.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    threads: threads_of(1)
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(720),
        gpu=gpu,
        device=CONFIG.device,
    params:
        folder=subpath(output.metrics, parent=True),
        settings=CONFIG.fusion.model_dump_json(by_alias=True),
        version=VERSIONS["fusion"],
        # Evaluated lazily: extraction must not fail if the folds do not fit the speakers.
        folds=one_line(lambda wildcards: PLAN.folds_json),
        everyone=one_line(lambda wildcards: PLAN.everyone_json),
    shell:
        "deepfusion --log {log:q} train-fbp --store {input.store:q} --folds {params.folds:q} --everyone {params.everyone:q}"
        " --settings {params.settings:q} --device {resources.device:q} --threads {threads:q} --out {params.folder:q}"


rule study:
    input:
        store=STORE,
    output:
        **{name: f"{STUDY}/{file}" for name, file in RESULTS.items()},
    log:
        f"{OUT}/logs/study/{{normalisation}}.log",
    benchmark:
        f"{OUT}/benchmarks/study/{{normalisation}}.tsv"
    wildcard_constraints:
        normalisation="training|speaker",
    conda:
        "../../envs/deepfusion.yaml"
    threads: threads_of(len(CONFIG.study.normalisation))
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(720),
        gpu=gpu,
        device=CONFIG.device,
    params:
        folder=subpath(output.metrics, parent=True),
        settings=lambda wildcards: CONFIG.fusion.model_copy(
            update={"normalisation": wildcards.normalisation}
        ).model_dump_json(by_alias=True),
        study=CONFIG.study.model_dump_json(exclude={"normalisation"}),
        version=VERSIONS["fusion"],
        folds=one_line(lambda wildcards: PLAN.folds_json),
    shell:
        "deepfusion --log {log:q} fusion-study --store {input.store:q} --folds {params.folds:q}"
        " --settings {params.settings:q} --study {params.study:q}"
        " --device {resources.device:q} --threads {threads:q} --out {params.folder:q}"


rule report_fbp:
    input:
        **{name: f"{FBP}/{file}" for name, file in RESULTS.items()},
        store=STORE,
    output:
        report(
            f"{OUT}/report.html",
            caption="../report/fbp.rst",
            category="Results",
            labels={"page": "FBP"},
        ),
    log:
        f"{OUT}/logs/report.log",
    benchmark:
        f"{OUT}/benchmarks/report.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(30),
    params:
        folders=lambda wildcards, input: [str(Path(input.metrics).parent)],
        # After a failed training, an old page must not count as up to date.
        depends=lambda wildcards: [PLAN.digest, CONFIG.fusion.model_dump_json()],
    shell:
        "deepfusion --log {log:q} report {params.folders:q} --store {input.store:q} --out {output:q}"


use rule report_fbp as report_study with:
    input:
        **{
            name: expand(f"{STUDY}/{file}", normalisation=CONFIG.study.normalisation)
            for name, file in RESULTS.items()
        },
        store=STORE,
    output:
        report(
            f"{OUT}/study.html",
            caption="../report/study.rst",
            category="Results",
            labels={"page": "fusion study"},
        ),
    log:
        f"{OUT}/logs/report_study.log",
    benchmark:
        f"{OUT}/benchmarks/report_study.tsv"
    params:
        folders=lambda wildcards, input: [
            str(Path(file).parent) for file in input.metrics
        ],
        depends=lambda wildcards: [
            PLAN.digest,
            CONFIG.fusion.model_dump_json(),
            CONFIG.study.model_dump_json(),
        ],
