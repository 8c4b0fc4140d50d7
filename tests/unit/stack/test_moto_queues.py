"""What the stand-in's queues and notifications do that stock moto's do not."""

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import json, sys, time
import boto3
from concurrent.futures import ThreadPoolExecutor
from moto.server import ThreadedMotoServer
from scenelake.stack.moto_notifications import announce_delete_markers, name_versions_in_events
from scenelake.stack.moto_sqs import serve_long_queues

name_versions_in_events(), announce_delete_markers(), serve_long_queues()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
session = boto3.Session("test", "test", region_name="eu-central-1")
sqs, s3 = (session.client(name, endpoint_url=f"http://{host}:{port}") for name in ("sqs", "s3"))
said = {}

url = sqs.create_queue(QueueName="delayed")["QueueUrl"]
sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=1)
started = time.monotonic()
found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10).get("Messages", [])
said["delayed"] = [len(found), time.monotonic() - started]

url = sqs.create_queue(QueueName="many")["QueueUrl"]
for start in range(0, 300, 10):
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": str(start + i)} for i in range(10)])
def receive(_):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60).get("Messages", [])
with ThreadPoolExecutor(8) as pool:
    bodies = [m["Body"] for found in pool.map(receive, range(30)) for m in found]
said["bodies"] = [len(bodies), len(set(bodies))]

bucket = "landing"
s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
url = sqs.create_queue(QueueName="events")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
configuration = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
s3.put_bucket_notification_configuration(
    Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
)
version = s3.put_object(Bucket=bucket, Key="a b", Body=b"1")["VersionId"]
marker = s3.delete_object(Bucket=bucket, Key="a b")["VersionId"]
events = []
for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]:
    for record in json.loads(m["Body"]).get("Records", ()):
        found = record["s3"]["object"]
        events.append([record["eventName"], found["versionId"], found["sequencer"]])
said["events"], said["versions"] = events, [version, marker]
print(json.dumps(said))
server.stop()
"""


@pytest.fixture(scope="module")
def said() -> dict[str, list[object]]:
    """What a server in a process of its own did: the changes to moto are for good."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[object]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_a_long_poll_wakes_for_a_message_whose_delay_ends(said) -> None:
    nbr_found, waited_seconds = said["delayed"]
    assert nbr_found == 1
    assert waited_seconds < 5


def test_a_message_goes_to_one_receiver(said) -> None:
    assert said["bodies"] == [300, 300]


def test_events_name_versions_in_their_order_and_delete_markers(said) -> None:
    version, marker = said["versions"]
    created, removed = said["events"]
    assert created[:2] == ["ObjectCreated:Put", version]
    assert removed[:2] == ["ObjectRemoved:DeleteMarkerCreated", marker]
    assert created[2] < removed[2]
