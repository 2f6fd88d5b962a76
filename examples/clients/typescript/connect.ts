// Submits a query, follows its output over cuts, and prints its result: with Connect-ES.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { type Run, RunState } from "./gen/longshore/v1/run_pb.js";
import { RunService } from "./gen/longshore/v1/run_service_pb.js";

const runs = createClient(RunService, createGrpcTransport({ baseUrl: "http://127.0.0.1:7420" }));
const sql = "select priority, count(*) as tickets from tickets group by priority";
const submitted = await runs.submitRun({
  parent: "namespaces/default",
  // Safe to repeat: the same request is the same run.
  requestId: "tickets-by-priority",
  spec: {
    workload: { case: "runner", value: { profile: "sql" } },
    input: { content: { case: "json", value: JSON.stringify({ dataset: "demo/support", sql }) } },
  },
});
const name = submitted.run!.name;

let cursor = "";
for (let over = false; !over; ) {
  // A stream may be cut, or end in `reconnect`: go on at the last cursor.
  const start = cursor ? { case: "cursor" as const, value: cursor } : undefined;
  try {
    for await (const { event } of runs.streamLogs({ name, follow: true, start })) {
      if (event.case === "entries") for (const entry of event.value.entries) process.stderr.write(entry.data);
      if (event.case === "entries" || event.case === "reconnect") cursor = event.value.cursor || cursor;
      over = event.case === "ended";
    }
  } catch (error) {
    if (ConnectError.from(error).code !== Code.Unavailable) throw error;
  }
}

let run: Run;
do run = (await runs.waitRun({ name })).run!; // Answers after 30 s at the latest.
while (run.state < RunState.SUCCEEDED);
console.log(RunState[run.state], JSON.stringify(JSON.parse(run.result!.json).rows));

try {
  await runs.getRun({ name: "namespaces/default/runs/no-such-run" });
} catch (error) {
  const failure = ConnectError.from(error);
  console.log(Code[failure.code], failure.findDetails(ErrorInfoSchema)[0]?.reason);
}
