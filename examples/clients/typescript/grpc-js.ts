// Reads a run, with @grpc/grpc-js: the files are loaded at run time, and the types are generated from them.
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

import type { ProtoGrpcType } from "./gen/loader/run_service.js";

const files = loadSync("longshore/v1/run_service.proto", {
  includeDirs: ["proto"],
  longs: String, // 64-bit numbers with all their digits
  enums: String, // "RUN_STATE_SUCCEEDED" and not 7
  defaults: true, // what is unset is there, as the default of its type
  oneofs: true, // `event` says which field of it is set
});
const { longshore } = grpc.loadPackageDefinition(files) as unknown as ProtoGrpcType;
const runs = new longshore.v1.RunService("127.0.0.1:7420", grpc.credentials.createInsecure());

const name = "namespaces/default/runs/customers";
runs.getRun({ name }, (error, answer) => {
  if (error) throw error;
  console.log(answer!.run!.state, answer!.run!.result!.json);
});
for await (const { event, entries } of runs.streamLogs({ name, follow: true })) {
  if (event === "entries") for (const entry of entries!.entries) process.stderr.write(entry.data as Buffer);
}
