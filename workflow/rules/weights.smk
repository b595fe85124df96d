# Published weights for the slots that need them. No other rule downloads them, because they have licences of their own.


rule fetch_weights:
    output:
        touch("results/weights/fetched"),
    log:
        "results/weights/log",
    conda:
        "../../envs/deepfusion.yaml"
    resources:
        mem_mb=megabytes(500),
        runtime=minutes(120),
    params:
        names=fetched,
    shell:
        "deepfusion --log {log:q} fetch-weights {params.names:q} --out results/weights"
