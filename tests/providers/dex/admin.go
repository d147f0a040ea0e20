// Administers Dex over its API, because its HTTP pages cannot: `admin ADDRESS add EMAIL HASH NAME ID`, `admin ADDRESS delete EMAIL`.
package main

import (
	"context"
	"log"
	"os"

	"github.com/dexidp/dex/api/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	dex, given := api.NewDexClient(connection), os.Args[3:]
	switch os.Args[2] {
	case "add":
		user := &api.Password{Email: given[0], Hash: []byte(given[1]), Username: given[2], UserId: given[3]}
		_, err = dex.CreatePassword(context.Background(), &api.CreatePasswordReq{Password: user})
	case "delete":
		_, err = dex.DeletePassword(context.Background(), &api.DeletePasswordReq{Email: given[0]})
	default:
		log.Fatal("unknown command")
	}
	if err != nil {
		log.Fatal(err)
	}
}
