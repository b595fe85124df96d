# Clips: the demo corpus is generated, one job per speaker; any other corpus exists already. Planning (Plan.write) writes
# the resolved manifest, and the rows of each shard.

if CONFIG.corpus.source == "demo":

    rule demo_speaker:
        output:
            here(PLAN.generated),
        log:
            f"{OUT}/logs/demo/{{speaker}}.log",
        benchmark:
            f"{OUT}/benchmarks/demo/{{speaker}}.tsv"
        conda:
            "../../envs/deepfusion.yaml"
        resources:
            mem_mb=megabytes(1000),
            runtime=minutes(30),
        params:
            folder=lambda wildcards, output: Path(output[0]).parents[1],
            settings=CONFIG.corpus.demo.model_dump_json(),
        shell:
            "deepfusion --log {log:q} demo --speaker {wildcards.speaker:q} --settings {params.settings:q}"
            " --out {params.folder:q}"
