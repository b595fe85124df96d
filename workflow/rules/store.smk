# All shards -> one store, in two rules: Snakemake deletes a job's output before the job runs, and a failed join must keep
# the previous store.
STORE = str(PLAN.store)


rule join:
    input:
        manifest=here(PLAN.manifest),
        depends=here(PLAN.settings("store")),
        derived=here(PLAN.settings("derived")),
        shards=expand(
            f"{OUT}/shards/{{stage}}/{{shard}}.h5",
            stage=["faces", *SLOTS, *AUDIO],
            shard=SHARDS,
        ),
    output:
        f"{OUT}/shards/features.h5",
    log:
        f"{OUT}/logs/join.log",
    benchmark:
        f"{OUT}/benchmarks/join.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=megabytes(1000),
        runtime=minutes(120),
    params:
        manifest=lambda wildcards: str(PLAN.manifest),
        shards=subpath(output[0], parent=True),
        config=PLAN.extraction_json,
        fingerprints=fingerprints,
        encoder=encoder_sha256,
    shell:
        "deepfusion --log {log:q} store --manifest {params.manifest:q} --shards {params.shards:q}"
        " --config {params.config:q} --out {output:q}"


if not FROZEN:

    rule store:
        input:
            rules.join.output,
        output:
            STORE,
        log:
            f"{OUT}/logs/store.log",
        # Only gives the file a second name: not worth a cluster job.
        localrule: True
        conda:
            "../../envs/deepfusion.yaml"
        resources:
            mem_mb=megabytes(500),
        params:
            plan=lambda wildcards: PLAN.digest,
        shell:
            "deepfusion --log {log:q} publish {input:q} --out {output:q}"
