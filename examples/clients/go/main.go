// Submits a query, follows its output over cuts, and prints its result.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	longshorev1 "example.com/client/gen/longshore/v1"
)

const question = `{"dataset": "demo/support", "sql": "select priority, count(*) as tickets from tickets group by priority"}`

func main() {
	ctx := context.Background()
	conn, err := grpc.NewClient("127.0.0.1:7420", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	runs := longshorev1.NewRunServiceClient(conn)

	submitted, err := runs.SubmitRun(ctx, &longshorev1.SubmitRunRequest{
		Parent: "namespaces/default",
		// Safe to repeat: the same request is the same run.
		RequestId: "tickets-by-priority",
		Spec: &longshorev1.RunSpec{
			Workload: &longshorev1.RunSpec_Runner{Runner: &longshorev1.RunnerWorkload{Profile: "sql"}},
			Input:    &longshorev1.Input{Content: &longshorev1.Input_Json{Json: question}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	name := submitted.Run.Name
	if err := follow(ctx, runs, name); err != nil {
		log.Fatal(err)
	}

	var run *longshorev1.Run
	for run.GetState() < longshorev1.RunState_RUN_STATE_SUCCEEDED { // WaitRun answers after 30 s at the latest.
		answer, err := runs.WaitRun(ctx, &longshorev1.WaitRunRequest{Name: name})
		if err != nil {
			log.Fatal(err)
		}
		run = answer.Run
	}
	var result struct{ Rows json.RawMessage }
	if err := json.Unmarshal([]byte(run.GetResult().GetJson()), &result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(run.State, string(result.Rows))

	_, err = runs.GetRun(ctx, &longshorev1.GetRunRequest{Name: "namespaces/default/runs/no-such-run"})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fmt.Println(status.Code(err), info.Reason)
		}
	}
}

// follow writes the run's output to stderr until the run is over. A stream may be cut, or end in `reconnect`: it goes
// on at the last cursor.
func follow(ctx context.Context, runs longshorev1.RunServiceClient, name string) error {
	request := &longshorev1.StreamLogsRequest{Name: name, Follow: true}
	for {
		stream, err := runs.StreamLogs(ctx, request)
		for err == nil {
			var answer *longshorev1.StreamLogsResponse
			if answer, err = stream.Recv(); err != nil {
				break
			}
			cursor := answer.GetReconnect().GetCursor()
			switch event := answer.Event.(type) {
			case *longshorev1.StreamLogsResponse_Entries:
				for _, entry := range event.Entries.Entries {
					os.Stderr.Write(entry.Data)
				}
				cursor = event.Entries.Cursor
			case *longshorev1.StreamLogsResponse_Ended:
				return nil
			}
			if cursor != "" {
				request.Start = &longshorev1.StreamLogsRequest_Cursor{Cursor: cursor}
			}
		}
		if !errors.Is(err, io.EOF) && status.Code(err) != codes.Unavailable {
			return err
		}
	}
}
