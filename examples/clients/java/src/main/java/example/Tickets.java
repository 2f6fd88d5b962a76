package example;

import com.google.gson.JsonParser;
import com.google.rpc.ErrorInfo;
import dev.longshore.v1.*;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;

/** Submits a query, follows its output over cuts, and prints its result. */
public class Tickets {
  static final String QUESTION =
      """
      {"dataset": "demo/support", "sql": "select priority, count(*) as tickets from tickets group by priority"}""";

  public static void main(String[] args) throws Exception {
    var channel = Grpc.newChannelBuilder("127.0.0.1:7420", InsecureChannelCredentials.create()).build();
    var runs = RunServiceGrpc.newBlockingStub(channel);
    var spec =
        RunSpec.newBuilder()
            .setRunner(RunnerWorkload.newBuilder().setProfile("sql"))
            .setInput(Input.newBuilder().setJson(QUESTION));
    // The request id makes this safe to repeat: the same request is the same run.
    var request =
        SubmitRunRequest.newBuilder()
            .setParent("namespaces/default")
            .setRequestId("tickets-by-priority")
            .setSpec(spec);
    var name = runs.submitRun(request.build()).getRun().getName();
    follow(runs, name);

    Run run;
    do { // WaitRun answers after 30 s at the latest.
      run = runs.waitRun(WaitRunRequest.newBuilder().setName(name).build()).getRun();
    } while (run.getStateValue() < RunState.RUN_STATE_SUCCEEDED_VALUE);
    var result = JsonParser.parseString(run.getResult().getJson()).getAsJsonObject();
    System.out.println(run.getState() + " " + result.get("rows"));

    try {
      runs.getRun(GetRunRequest.newBuilder().setName("namespaces/default/runs/no-such-run").build());
    } catch (StatusRuntimeException error) {
      for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          System.out.println(error.getStatus().getCode() + " " + detail.unpack(ErrorInfo.class).getReason());
        }
      }
    }
    channel.shutdown();
  }

  /** Writes the run's output to stderr until the run is over. A stream may be cut, or end in `reconnect`. */
  static void follow(RunServiceGrpc.RunServiceBlockingStub runs, String name) throws Exception {
    var request = StreamLogsRequest.newBuilder().setName(name).setFollow(true);
    while (true) {
      try {
        var answers = runs.streamLogs(request.build());
        while (answers.hasNext()) {
          var answer = answers.next();
          if (answer.hasEnded()) {
            return;
          }
          for (var entry : answer.getEntries().getEntriesList()) {
            entry.getData().writeTo(System.err);
          }
          var cursor = answer.hasReconnect() ? answer.getReconnect().getCursor() : answer.getEntries().getCursor();
          if (!cursor.isEmpty()) {
            request.setCursor(cursor);
          }
        }
      } catch (StatusRuntimeException error) {
        if (error.getStatus().getCode() != Status.Code.UNAVAILABLE) {
          throw error;
        }
      }
    }
  }
}
