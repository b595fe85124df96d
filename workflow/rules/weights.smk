# Published weights that anybody may download, for the slots that need them. Nothing fetches them unasked: their
# licences are not this project's.


rule fetch_weights:
    output:
        touch("results/weights/fetched"),
    log:
        "results/weights/log",
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=500,
        runtime=minutes(120),
    params:
        names=fetched,
    shell:
        "deepfusion --log {log:q} fetch-weights {params.names:q} --out results/weights"
