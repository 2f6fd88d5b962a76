import json
import sys

sys.path.insert(0, "gen")
import grpc
from longshore.v1 import run_pb2, run_service_pb2 as api, run_service_pb2_grpc as rpc, workload_pb2

runs = rpc.RunServiceStub(grpc.insecure_channel("127.0.0.1:7420"))
question = {"dataset": "demo/support", "sql": "select priority, count(*) as tickets from tickets group by priority"}
spec = run_pb2.RunSpec(
    runner=workload_pb2.RunnerWorkload(profile="sql"),
    input=workload_pb2.Input(json=json.dumps(question)),
)
# The request_id makes this safe to repeat: the same request is the same run.
request = api.SubmitRunRequest(parent="namespaces/default", request_id="tickets-by-priority", spec=spec)
name = runs.SubmitRun(request, timeout=10).run.name

cursor, over = "", False
while not over:  # A stream may be cut, or end in `reconnect`: go on at the last cursor.
    start = {"cursor": cursor} if cursor else {}
    try:
        for answer in runs.StreamLogs(api.StreamLogsRequest(name=name, follow=True, **start)):
            for entry in answer.entries.entries:
                sys.stderr.buffer.write(entry.data)
            cursor = answer.entries.cursor or answer.reconnect.cursor or cursor
            over = answer.HasField("ended")
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise

run = run_pb2.Run()
while run.state < run_pb2.RUN_STATE_SUCCEEDED:  # WaitRun answers after 50 s at the latest.
    run = runs.WaitRun(api.WaitRunRequest(name=name), timeout=60).run
print(run_pb2.RunState.Name(run.state))
print(json.loads(run.result.json)["rows"])
