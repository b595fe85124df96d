# Face tracks -> face features: one job per shard decodes once for all networks and skips those that are up to date.
SLOTS = list(CONFIG.networks)


rule networks:
    input:
        rows=lambda wildcards: here(PLAN.rows(wildcards.shard)),
        depends=here(PLAN.settings("networks")),
        # The clips are inputs of the face tracks already; listing them again would only enlarge the DAG.
        tracks=rules.faces.output,
    output:
        expand(f"{OUT}/shards/{{slot}}/{{{{shard}}}}.h5", slot=SLOTS),
    log:
        f"{OUT}/logs/networks/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/networks/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    threads: threads_of_networks
    resources:
        mem_mb=lambda wildcards, threads, attempt: (1700 + 300 * threads) * attempt,
        runtime=minutes_of_shard,
        gpu=gpu,
        device=CONFIG.device,
        # A resource, not a parameter: changing the engine does not change features, so it must not make them stale.
        engine=CONFIG.engine,
    params:
        # The original, not a copy on scratch: its paths are relative to its folder.
        rows=lambda wildcards: str(PLAN.rows(wildcards.shard)),
        settings=PLAN.networks_json,
        fingerprints=fingerprints,
        dtype=CONFIG.store.dtype,
        rate=[] if CONFIG.faces.rate is None else ["--rate", CONFIG.faces.rate],
        limits=CONFIG.limits.model_dump_json(),
        version=VERSIONS["networks"],
    shell:
        "deepfusion --log {log:q} networks --clips {params.rows:q} --tracks {input.tracks:q}"
        " --settings {params.settings:q} --limits {params.limits:q} --dtype {params.dtype:q} {params.rate:q}"
        " --device {resources.device:q} --engine {resources.engine:q} --threads {threads:q} {output:q}"
