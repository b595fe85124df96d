"""Results in a bucket: an S3-like server on this machine takes the shards and the store."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from paths import ROOT
from small_corpus import write_clips

from deepfusion import FeatureStore

KEYS = {"aws_access_key_id": "id", "aws_secret_access_key": "key", "region_name": "us-east-1"}
CONFIG = {
    "corpus": {"name": "tiny", "source": "manifest", "path": "manifest.csv"},
    "networks": {"EF-A": {"network": "dlib-resnet29"}},
}
MISSING = [name for name in ("snakemake_storage_plugin_s3", "moto", "flask") if find_spec(name) is None]

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed (pip install '.[dev]')"),
]


@pytest.fixture
def bucket():
    """A client of a server that has one empty bucket, and the server's address."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client("s3", endpoint_url=address, **KEYS)
    client.create_bucket(Bucket="features")
    yield client, address
    server.stop()


def extract(folder, *arguments):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": KEYS["aws_access_key_id"],
        "SNAKEMAKE_STORAGE_S3_SECRET_KEY": KEYS["aws_secret_access_key"],
    }
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--cores", "2", *arguments, "--", "extract_features"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_shards_and_store_go_to_the_bucket_and_are_found_there_again(tmp_path, bucket):
    client, address = bucket
    write_clips(tmp_path / "project")
    (tmp_path / "project/config.yaml").write_text(yaml.safe_dump(CONFIG))
    s3 = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://features"]
    s3 += ["--storage-s3-endpoint-url", address]
    extract(tmp_path / "project", *s3)
    names = {item["Key"] for item in client.list_objects_v2(Bucket="features")["Contents"]}
    assert {"results/tiny/features.h5", "results/tiny/shards/faces/00000.h5"} <= names
    assert not any("clips" in name or "plan" in name for name in names)
    client.download_file("features", "results/tiny/features.h5", str(tmp_path / "features.h5"))
    with FeatureStore(tmp_path / "features.h5") as store:
        assert len(store) == 9
    shutil.rmtree(tmp_path / "project/.snakemake/storage", ignore_errors=True)
    assert "Nothing to be done" in extract(tmp_path / "project", *s3)
