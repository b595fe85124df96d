# Face tracks -> face features: one job a shard decodes once for all networks, and leaves alone those that are up to date.
SLOTS = list(CONFIG.networks)


rule networks:
    input:
        manifest=ancient(MANIFEST),
        # A clip that changed makes its face track new first; to name the clips again would only make the DAG dearer.
        tracks=rules.faces.output,
    output:
        update(expand(f"{OUT}/shards/{{slot}}/{{{{shard}}}}.h5", slot=SLOTS)),
    log:
        f"{OUT}/logs/networks/{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/networks/{{shard}}.tsv"
    conda:
        "../../envs/deepfusion.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        device=CONFIG.device,
        # A resource, like the device: another engine gives the same features, so it makes none stale.
        engine=CONFIG.engine,
    params:
        rows=lambda wildcards: PLAN.rows(wildcards.shard),
        settings=PLAN.networks_json,
        fingerprints=fingerprints,
        dtype=CONFIG.store.dtype,
        version=VERSIONS["networks"],
    shell:
        "deepfusion --log {log} networks --manifest {input.manifest} --rows {params.rows} --tracks {input.tracks}"
        " --settings {params.settings:q} --dtype {params.dtype} --device {resources.device} --engine {resources.engine}"
        " --threads {threads} {output}"
