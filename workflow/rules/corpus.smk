# The clips: the demo corpus is generated, one job a speaker; any other corpus is there already.

# A plain name: `ancient(rules.manifest.output)` would make the manifest ancient for every other rule as well.
MANIFEST = f"{OUT}/manifest.csv"
GENERATED = CONFIG.corpus.source == "demo"

if GENERATED:

    rule demo_speaker:
        output:
            PLAN.generated,
        log:
            f"{OUT}/logs/demo/{{speaker}}.log",
        benchmark:
            f"{OUT}/benchmarks/demo/{{speaker}}.tsv"
        conda:
            "../../envs/deepfusion.yaml"
        resources:
            mem_mb=1000,
        params:
            folder=lambda wildcards, output: Path(output[0]).parents[1],
            settings=CONFIG.corpus.demo.model_dump_json(),
        shell:
            "deepfusion --log {log} demo --speaker {wildcards.speaker} --settings {params.settings:q}"
            " --out {params.folder}"


rule manifest:
    input:
        [file for shard in SHARDS for file in PLAN.media(shard)] if GENERATED else [],
    output:
        MANIFEST,
    log:
        f"{OUT}/logs/manifest.log",
    benchmark:
        f"{OUT}/benchmarks/manifest.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=500,
    params:
        corpus=PLAN.corpus_json,
        clips=PLAN.manifest_digest,
    shell:
        "deepfusion --log {log} manifest --corpus {params.corpus:q} --out {output}"
