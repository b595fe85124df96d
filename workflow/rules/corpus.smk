# The clips: the demo corpus is generated, a speaker a job; any other corpus is there already.

if CONFIG.corpus.source == "demo":

    rule demo_speaker:
        output:
            [f"{OUT}/corpus/clips/{name}" for name in PLAN.demo_clips],
        params:
            settings=CONFIG.corpus.demo.model_dump_json(),
        log:
            f"{OUT}/logs/demo.log",
        benchmark:
            f"{OUT}/benchmarks/demo.tsv"
        threads: 2
        resources:
            mem_mb=1000,
        conda:
            "../../envs/deepfusion.yaml"
        shell:
            "deepfusion --log {log} demo --settings {params.settings:q} --threads {threads} --out {OUT}/corpus"


rule manifest:
    output:
        f"{OUT}/manifest.csv",
    params:
        corpus=CONFIG.corpus.model_dump_json(),
        clips=PLAN.manifest_digest,
    log:
        f"{OUT}/logs/manifest.log",
    benchmark:
        f"{OUT}/benchmarks/manifest.tsv"
    resources:
        mem_mb=500,
    conda:
        "../../envs/deepfusion.yaml"
    shell:
        "deepfusion --log {log} manifest --corpus {params.corpus:q} --out {output}"
