# Functions that rules evaluate only when a job needs the value, so that a missing file stops no other target.

SHARED = SharedFSUsage.INPUT_OUTPUT in workflow.storage_settings.shared_fs_usage


def here(files):
    """Mark clips and plan files as local: nodes read them from the file system, even if results go to another storage.

    Without a shared file system they come from the storage, which must then contain the same files.
    """
    if not SHARED:
        return files if isinstance(files, list) else str(files)
    return local(files if isinstance(files, list) else str(files))


# CPU threads of a job on a cluster whose profile sets none; the login node's core count says nothing about other nodes.
CLUSTER_THREADS = 8
# Threads that decode for one GPU.
GPU_THREADS = 4
# Cluster time limit per clip and stage with one thread, min: about six times the need of 10 s of video.
CLIP_MINUTES = 1


def on_cluster():
    """Whether jobs run on other machines than this one."""
    # Both attributes are internal to Snakemake. Inside a cluster job both are true.
    is_local = getattr(workflow, "local_exec", True)
    return not is_local or getattr(workflow, "remote_exec", False)


def threads_of(jobs, rounded=math.floor):
    """Threads per job if `jobs` jobs share this machine; on a cluster the same number on every node."""

    def threads(wildcards):
        if on_cluster():
            return CLUSTER_THREADS
        return max(1, min(workflow.cores, rounded(workflow.cores / max(jobs, 1))))

    return threads


def minutes(usual):
    """Time limit on a cluster, min; it grows with each attempt."""
    return lambda wildcards, attempt: usual * attempt


def megabytes(usual):
    """Memory of a job, MB; it grows with each attempt."""
    return lambda wildcards, attempt: usual * attempt


def minutes_of_shard(wildcards, attempt):
    """Time limit of a stage on a shard, min."""
    return (30 + CLIP_MINUTES * PLAN.clips_of(wildcards.shard)) * attempt


def gpu(wildcards):
    """GPUs that a job requests; on a cluster with `device: auto`, the profile requests them."""
    if CONFIG.device == "auto":
        return int(not on_cluster() and has_gpu())
    return int(CONFIG.device != "cpu")


def threads_of_networks(wildcards):
    """One thread per job, so that jobs share the cores; a GPU runs one job, for which several threads decode."""
    if not gpu(wildcards):
        return 1
    return GPU_THREADS if on_cluster() else min(workflow.cores, GPU_THREADS)


def one_line(ask):
    """Wrap an input function: a usage error becomes one line, without a traceback."""

    def asked(*arguments):
        try:
            return ask(*arguments)
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return asked


# Missing weights must not stop the rule that fetches them.
fingerprints = one_line(lambda wildcards: PLAN.fingerprints)
encoder_sha256 = one_line(
    lambda wildcards: "" if PLAN.no_encoder else PLAN.encoder_sha256
)


def fer2013(wildcards):
    settings = CONFIG.finetune
    if settings.data is None:
        raise WorkflowError(
            "finetune.data is null: give fer2013.csv, icml_face_data.csv or a folder of classes"
        )
    return {
        name: str(path)
        for name in ("data", "votes")
        if (path := getattr(settings, name))
    }


def speech(wildcards):
    manifest = CONFIG.pretrain_audio.manifest
    if manifest is None:
        raise WorkflowError(
            "pretrain_audio.manifest is null: give a csv with path, corpus, speaker, label, language, licence"
        )
    return str(manifest)


def own_recipe(wildcards):
    # A changed recipe of another network must not make this network stale.
    settings, name = CONFIG.finetune, wildcards.network
    own = {key: recipe for key, recipe in settings.recipes.items() if key == name}
    return settings.model_copy(update={"recipes": own}).model_dump_json(
        exclude={"data", "votes"}
    )


def fetched(wildcards):
    if not FETCHED:
        raise WorkflowError(
            "no network of the configuration needs a download: `preset: paper` has three"
        )
    return FETCHED
