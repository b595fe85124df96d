# Functions of the rules: what is asked for when a job needs it, so that what is missing hinders no other target.

SHARED = SharedFSUsage.INPUT_OUTPUT in workflow.storage_settings.shared_fs_usage


def here(files):
    """Clips, and files that planning writes: nodes read them where they are, whatever storage results go to.

    Without a shared file system they come from the storage, too: it is then one that shows the same files.
    """
    if not SHARED:
        return files if isinstance(files, list) else str(files)
    return local(files if isinstance(files, list) else str(files))


# CPU threads of a job on a cluster whose profile sets none: the cores of the node that plans say nothing about others.
CLUSTER_THREADS = 8
# Minutes of the cluster that a clip may take in one stage, with one thread: some six times what 10 s of video take.
CLIP_MINUTES = 1


def threads_of(jobs, rounded=math.floor):
    """Threads of one of `jobs` jobs that share this machine; on a cluster the same number on every node."""

    def threads(wildcards):
        # Neither name is promised by Snakemake. Inside a job of a cluster both are true.
        is_local = getattr(workflow, "local_exec", True)
        if not is_local or getattr(workflow, "remote_exec", False):
            return CLUSTER_THREADS
        return max(1, min(workflow.cores, rounded(workflow.cores / max(jobs, 1))))

    return threads


def minutes(usual):
    """Time limit for a cluster, min; a job that is run again may take longer."""
    return lambda wildcards, attempt: usual * attempt


def minutes_of_shard(wildcards, attempt):
    """Time limit of a stage that decodes a shard's video, min."""
    return (30 + CLIP_MINUTES * PLAN.clips_of(wildcards.shard)) * attempt


def gpu(wildcards):
    """GPUs of a job; `device: auto` takes one that the profile asks for."""
    return int(CONFIG.device.startswith("cuda"))


def one_line(ask):
    """The same function of the wildcards; a usage error is its own line, without a traceback."""

    def asked(*arguments):
        try:
            return ask(*arguments)
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return asked


# Weights that are not here must not stop the rule that fetches them.
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
    # Another network's recipe must not make this one stale.
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
