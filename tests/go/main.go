// A parent, children and activities as they are written in Go, and a worker for them that works until its input ends.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

type Order struct {
	Customer string `json:"customer"`
	Fails    bool   `json:"fails"`
}

// GoParent handles each order with a child and with an activity, each of which is given the order and some bytes.
func GoParent(ctx workflow.Context, orders []Order) (int, error) {
	id := workflow.GetInfo(ctx).WorkflowExecution.ID
	failed := 0
	var futures []workflow.Future
	for n, order := range orders {
		child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:               fmt.Sprintf("%s/order-%d", id, n),
			WorkflowExecutionTimeout: time.Minute,
			Memo:                     map[string]interface{}{"order": n},
		})
		futures = append(futures, workflow.ExecuteChildWorkflow(child, GoOrder, order, blob(n)))
		charge := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute,
			RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 1},
		})
		futures = append(futures, workflow.ExecuteActivity(charge, GoCharge, order, blob(n)))
	}
	for _, future := range futures {
		if future.Get(ctx, nil) != nil {
			failed++
		}
	}
	return failed, nil
}

// GoOrder fails where it is told to, unless it is run by a retry.
func GoOrder(ctx workflow.Context, order Order, data []byte) (string, error) {
	parent := workflow.GetInfo(ctx).ParentWorkflowExecution
	return handle(parent.ID, order, data)
}

// GoCharge does the same as an activity.
func GoCharge(ctx context.Context, order Order, data []byte) (string, error) {
	return handle(activity.GetInfo(ctx).WorkflowExecution.ID, order, data)
}

func handle(parent string, order Order, data []byte) (string, error) {
	if order.Fails && !strings.Contains(parent, ".retry-") {
		return "", temporal.NewNonRetryableApplicationError("no such customer", "Missing", nil)
	}
	return fmt.Sprintf("%s %x", order.Customer, sha256.Sum256(data)), nil
}

// GoNotify returns no result, only whether it failed: as told by its item, unless it is run by a retry.
func GoNotify(ctx workflow.Context, order Order) error {
	_, err := handle(workflow.GetInfo(ctx).ParentWorkflowExecution.ID, order, nil)
	return err
}

// GoRecord does the same as an activity.
func GoRecord(ctx context.Context, order Order) error {
	_, err := handle(activity.GetInfo(ctx).WorkflowExecution.ID, order, nil)
	return err
}

func blob(n int) []byte {
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(i * (n + 1))
	}
	return data
}

func main() {
	logger := sdklog.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	c, err := client.Dial(client.Options{HostPort: os.Args[1], Logger: logger})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, os.Args[2], worker.Options{})
	w.RegisterWorkflow(GoParent)
	w.RegisterWorkflow(GoOrder)
	w.RegisterWorkflow(GoNotify)
	w.RegisterActivity(GoCharge)
	w.RegisterActivity(GoRecord)
	if err := w.Start(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	w.Stop()
}
