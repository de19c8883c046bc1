"""Manifests that Kubernetes and JobSet take, for pods that share a study."""

import copy
import json
import subprocess
import sys

import jsonschema
import pytest

from fits.base.errors import UserError
from scaling.kubernetes import GRACE, KubernetesSpec, manifest


def record(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def several(items):
    return {"type": "array", "items": items}


TEXT, NUMBER, SWITCH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
META = record(("name",), name=TEXT, labels=TEXTS, annotations=TEXTS)
# The fields that are used, their types and what is required of them, after Kubernetes' OpenAPI
# description of batch/v1 and core/v1 (1.33); no others are let through.
POD = record(
    ("containers",),
    restartPolicy={"enum": ["Never", "OnFailure"]},
    terminationGracePeriodSeconds=NUMBER,
    nodeSelector=TEXTS,
    volumes=several(
        record(("name",), name=TEXT, persistentVolumeClaim=record(("claimName",), claimName=TEXT))
    ),
    containers=several(
        record(
            ("name", "image"),
            name=TEXT,
            image=TEXT,
            command=several(TEXT),
            env=several(
                record(
                    ("name",),
                    name=TEXT,
                    valueFrom=record(fieldRef=record(("fieldPath",), fieldPath=TEXT)),
                )
            ),
            ports=several(record(("containerPort",), containerPort=NUMBER)),
            resources=record(limits=TEXTS, requests=TEXTS),
            volumeMounts=several(record(("name", "mountPath"), name=TEXT, mountPath=TEXT)),
        )
    ),
)
RULE = record(
    ("action",),
    action={"enum": ["Ignore", "Count", "FailJob", "FailIndex"]},
    onExitCodes=record(
        ("operator", "values"), operator={"enum": ["In", "NotIn"]}, values=several(NUMBER)
    ),
    onPodConditions=several(record(("type", "status"), type=TEXT, status=TEXT)),
)
JOB = record(
    ("template",),
    completionMode={"enum": ["Indexed", "NonIndexed"]},
    completions=NUMBER,
    parallelism=NUMBER,
    backoffLimit=NUMBER,
    backoffLimitPerIndex=NUMBER,
    podFailurePolicy=record(("rules",), rules=several(RULE)),
    suspend=SWITCH,
    template=record(spec=POD),
)
# The same of kubernetes-sigs/jobset, config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml,
# v1alpha2.
JOB_SET = record(
    failurePolicy=record(
        maxRestarts=NUMBER,
        restartStrategy={"enum": ["Recreate", "BlockingRecreate"]},
        rules=several(
            record(
                ("action", "name"),
                action={
                    "enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
                },
                name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                onJobFailureReasons=several(TEXT),
            )
        ),
    ),
    network=record(enableDNSHostnames=SWITCH, publishNotReadyAddresses=SWITCH, subdomain=TEXT),
    replicatedJobs=several(
        record(("name", "template"), name=TEXT, replicas=NUMBER, template=record(spec=JOB))
    ),
    suspend=SWITCH,
)
SCHEMAS = {("batch/v1", "Job"): JOB, ("jobset.x-k8s.io/v1alpha2", "JobSet"): JOB_SET}


def made(**fields):
    given = {"name": "small", "study": "demo", "image": "registry/scaling:1", "claim": "runs"}
    found = manifest(KubernetesSpec(**{**given, **fields}))
    spec = SCHEMAS[found["apiVersion"], found["kind"]]
    whole = record(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion=TEXT,
        kind=TEXT,
        metadata=META,
        spec=spec,
    )
    jsonschema.validate(found, whole)
    return found


def pod_of(found):
    job = found["spec"]
    if found["kind"] == "JobSet":
        job = job["replicatedJobs"][0]["template"]["spec"]
    return job, job["template"]["spec"], job["template"]["spec"]["containers"][0]


SLICE = {"tpu_accelerator": "tpu-v5-lite-podslice", "tpu_topology": "4x4", "hosts": 4}


def test_workers_are_an_indexed_job_on_one_volume():
    found = made(workers=8, gpus=1)
    job, pod, container = pod_of(found)
    assert (found["kind"], job["completionMode"], job["parallelism"]) == ("Job", "Indexed", 8)
    assert container["command"] == ["scaling", "work", "demo", "--runs", "/runs"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "runs"}
    assert "suspend" not in found["spec"]


def test_a_preempted_pod_does_not_count_and_has_time_to_keep_a_checkpoint():
    job, pod, _ = pod_of(made())
    first, ended = job["podFailurePolicy"]["rules"]
    assert first == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert ended["onExitCodes"]["values"] == [1, 2]
    assert pod["terminationGracePeriodSeconds"] == GRACE >= 30
    assert pod["restartPolicy"] == "Never", "which a pod failure policy needs"


def test_a_queue_of_kueue_lets_the_job_begin():
    for fields in ({}, {"hosts": 2}):
        found = made(queue="research", **fields)
        assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
        assert found["spec"]["suspend"] is True


def test_hosts_that_train_together_find_the_first_of_their_group():
    found = made(hosts=2, workers=3, gpus=8, study="/runs/it's; rm -rf $HOME.toml")
    job, _, container = pod_of(found)
    assert (found["kind"], found["spec"]["replicatedJobs"][0]["replicas"]) == ("JobSet", 3)
    assert (job["completions"], job["backoffLimit"]) == (2, 0)
    said = subprocess.run(
        [
            "sh",
            "-c",
            container["command"][2].replace("exec", "printf '%s\\n'"),
            *container["command"][3:],
        ],
        env={"JOB_INDEX": "1", "JOB_COMPLETION_INDEX": "0", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said == [
        "scaling",
        "work",
        "/runs/it's; rm -rf $HOME.toml",
        "--runs",
        "/runs",
        "--exit-zero",
        "--coordinator",
        "small-workers-1-0.small:8476",
        "--processes",
        "2",
        "--process",
        "0",
    ]


def test_a_slice_of_tpus_is_one_command_a_host():
    found = made(**SLICE)
    _, pod, container = pod_of(found)
    assert container["command"][-2:] == ["--cluster", "tpu"]
    assert container["resources"]["limits"] == {"google.com/tpu": "4"}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "My Study"}, "--name My Study"),
        ({**SLICE, "hosts": 2}, "has 16 chips, on 4 hosts of 4; --hosts is 2"),
        ({"tpu_topology": "4x4"}, "a slice needs both"),
        ({**SLICE, "gpus": 1}, "one kind of device"),
        ({**SLICE, "tpu_topology": "four"}, "is no topology"),
        ({**SLICE, "tpu_topology": "0x4"}, "is no topology"),
        ({"claim": "a b"}, "--claim a b: no object"),
        ({"queue": "Bad Queue!"}, "--queue Bad Queue!: no object"),
    ],
)
def test_what_kubernetes_would_refuse_is_said(fields, words):
    with pytest.raises(UserError, match=words):
        made(**fields)


def test_the_schemas_refuse_a_field_that_kubernetes_does_not_have():
    found = copy.deepcopy(made())
    found["spec"]["backofLimit"] = 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found["spec"], JOB)


def test_kubernetes_own_client_takes_every_field():
    kubernetes = pytest.importorskip("kubernetes", reason="kubernetes is not installed")
    client = kubernetes.client.ApiClient()

    for fields, kind in (({"workers": 3, "gpus": 1}, "V1JobSpec"), (SLICE, "V1JobSpec")):
        job, *_ = pod_of(made(**fields))
        read = client.deserialize(json.dumps(job), kind, "application/json")
        assert client.sanitize_for_serialization(read) == job


def test_the_command_prints_json_for_kubectl():
    words = ["kubernetes", "demo", "--image", "a/b:1", "--claim", "runs", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scaling", *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["spec"]["parallelism"] == 2
