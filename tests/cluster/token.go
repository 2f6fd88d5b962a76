package main

// Tokens of service accounts with an end of their own choosing, also one in the
// past: the API server gives out none for less than ten minutes.

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// token writes a token of a service account to the connection. The arguments
// are namespace, name, audience and the seconds until it expires.
func (n *node) token(conn net.Conn, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("token NAMESPACE NAME AUDIENCE SECONDS")
	}
	seconds, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	body, err := n.api.get(ctx, apiServerURL+"/api/v1/namespaces/"+args[0]+"/serviceaccounts/"+args[1])
	if err != nil {
		return err
	}
	var object struct{ Metadata struct{ UID types.UID } }
	if err := json.Unmarshal(body, &object); err != nil {
		return err
	}
	pem, err := os.ReadFile(n.etc("service-account.key"))
	if err != nil {
		return err
	}
	key, err := keyutil.ParsePrivateKeyPEM(pem)
	if err != nil {
		return err
	}
	generator, err := serviceaccount.JWTTokenGenerator(serviceAccountIssuer, key)
	if err != nil {
		return err
	}
	account := core.ServiceAccount{}
	account.Namespace, account.Name, account.UID = args[0], args[1], object.Metadata.UID
	claims, private, err := serviceaccount.Claims(account, nil, nil, nil, seconds, 0, []string{args[2]})
	if err != nil {
		return err
	}
	token, err := generator.GenerateToken(ctx, claims, private)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(conn, token)
	return err
}
