// The example provider of ZITADEL's OpenID Connect library, on loopback and with a client and users from the environment.
package main

import (
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	client := storage.WebClient("portcullis", os.Getenv("CLIENT_SECRET"), os.Getenv("REDIRECT_URI"))
	storage.RegisterClients(client)
	users, err := storage.StoreFromFile(os.Getenv("USERS_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	provider := exampleop.SetupServer(os.Getenv("ISSUER"), storage.NewStorage(users), logger, false)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), provider))
}
