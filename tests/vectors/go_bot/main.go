// A bot in Go: it knows the topics' names, the Avro schemas and the DSSE rule, and nothing of Portcullis' code.
//
// With "vectors" it reads orders_own.json from standard input, makes the same bytes, and checks the signatures.
// With "order" it signs an order, sends it and prints the verdict that comes back.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const orderType = "application/vnd.portcullis.order.v1+avro"

var framing = []byte{0, 0, 0, 0, 1} // Confluent framing: a zero byte, then the schema's id

// Order has the fields of order.v1.avsc: decimals as unscaled integers, times in microseconds UTC.
type Order struct {
	AgentID      string  `json:"agent_id"`
	ClOrdID      string  `json:"cl_ord_id"`
	OrigClOrdID  *string `json:"orig_cl_ord_id"`
	MsgType      string  `json:"msg_type"`
	Symbol       string  `json:"symbol"`
	Destination  string  `json:"ex_destination"`
	Region       string  `json:"region"`
	Side         string  `json:"side"`
	OrdType      string  `json:"ord_type"`
	TimeInForce  string  `json:"time_in_force"`
	QuantityE17  string  `json:"order_qty_e17"`
	PriceE13     *string `json:"price_e13"`
	TransactTime int64   `json:"transact_time_us"`
	ExpireTime   *int64  `json:"expire_time_us"`
}

var (
	msgTypes     = []string{"NEW_ORDER_SINGLE", "ORDER_CANCEL_REPLACE_REQUEST", "ORDER_CANCEL_REQUEST"}
	sides        = []string{"BUY", "SELL"}
	ordTypes     = []string{"MARKET", "LIMIT"}
	timesInForce = []string{"DAY", "GOOD_TILL_CANCEL", "IMMEDIATE_OR_CANCEL", "FILL_OR_KILL"}
)

func long(out []byte, value int64) []byte { return binary.AppendVarint(out, value) }

func blob(out, data []byte) []byte { return append(long(out, int64(len(data))), data...) }

func text(out []byte, value string) []byte { return blob(out, []byte(value)) }

func choice(out []byte, members []string, value string) []byte {
	return long(out, int64(slices.Index(members, value)))
}

// decimal writes two's complement, big-endian, as short as it goes.
func decimal(out []byte, digits string) []byte {
	value, ok := new(big.Int).SetString(digits, 10)
	if !ok || value.Sign() < 0 {
		panic("a whole number of zero or more required: " + digits)
	}
	data := value.Bytes()
	if len(data) == 0 || data[0] >= 0x80 {
		data = append([]byte{0}, data...)
	}
	return blob(out, data)
}

func (o *Order) body() []byte {
	out := text(nil, o.AgentID)
	out = text(out, o.ClOrdID)
	if o.OrigClOrdID == nil {
		out = long(out, 0)
	} else {
		out = text(long(out, 1), *o.OrigClOrdID)
	}
	out = choice(out, msgTypes, o.MsgType)
	out = text(out, o.Symbol)
	out = text(out, o.Destination)
	out = text(out, o.Region)
	out = choice(out, sides, o.Side)
	out = choice(out, ordTypes, o.OrdType)
	out = choice(out, timesInForce, o.TimeInForce)
	out = decimal(out, o.QuantityE17)
	if o.PriceE13 == nil {
		out = long(out, 0)
	} else {
		out = decimal(long(out, 1), *o.PriceE13)
	}
	out = long(out, o.TransactTime)
	if o.ExpireTime == nil {
		return long(out, 0)
	}
	return long(long(out, 1), *o.ExpireTime)
}

// encoding is DSSE's pre-authentication encoding: what the signature is over.
func encoding(body []byte) []byte {
	head := fmt.Sprintf("DSSEv1 %d %s %d ", len(orderType), orderType, len(body))
	return append([]byte(head), body...)
}

type vectors struct {
	PublicKey string `json:"public_key_pem"`
	Orders    []struct {
		Name      string `json:"name"`
		Order     Order  `json:"order"`
		Value     string `json:"value"`
		Encoding  string `json:"dsse"`
		Signature string `json:"signature"`
	} `json:"orders"`
}

func checkVectors() error {
	var found vectors
	if err := json.NewDecoder(os.Stdin).Decode(&found); err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(found.PublicKey))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	for _, one := range found.Orders {
		body := one.Order.body()
		if value := hex.EncodeToString(append(framing, body...)); value != one.Value {
			return fmt.Errorf("%s: value %s, is %s", one.Name, one.Value, value)
		}
		signed := encoding(body)
		if hex.EncodeToString(signed) != one.Encoding {
			return fmt.Errorf("%s: another encoding", one.Name)
		}
		digest := sha256.Sum256(signed)
		signature, err := hex.DecodeString(one.Signature)
		if err != nil || !ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest[:], signature) {
			return fmt.Errorf("%s: the signature does not hold", one.Name)
		}
		fmt.Println(one.Name)
	}
	return nil
}

// readVerdict reads the first fields of verdict.v1.avsc.
func readVerdict(value []byte) (clOrdID, decision, reason string, err error) {
	if len(value) < len(framing) || value[4] != 2 {
		return "", "", "", errors.New("not verdict.v1")
	}
	rest := bytes.NewReader(value[len(framing):])
	read := func() string {
		size, e := binary.ReadVarint(rest)
		if e != nil || size < 0 || size > int64(rest.Len()) {
			err = errors.New("not a text")
			return ""
		}
		data := make([]byte, size)
		_, _ = rest.Read(data)
		return string(data)
	}
	_, clOrdID = read(), read()
	place, e := binary.ReadVarint(rest)
	if e != nil || place < 0 || place > 1 {
		return "", "", "", errors.New("not a decision")
	}
	return clOrdID, []string{"APPROVED", "REJECTED"}[place], read(), err
}

func trade(servers, prefix, agent, folder, region string) error {
	key, certificate, err := credentials(folder)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(servers),
		kgo.ConsumeTopics(prefix+"orders.approved", prefix+"orders.rejected"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	now := time.Now()
	expires := now.Add(20 * time.Second).UnixMicro()
	order := Order{
		AgentID: agent, ClOrdID: fmt.Sprintf("go-%d", now.UnixNano()), MsgType: msgTypes[0], Symbol: "BTC_USDT",
		Destination: "XOFF", Region: region, Side: "BUY", OrdType: "MARKET", TimeInForce: "DAY",
		QuantityE17: "100000000000000", TransactTime: now.UnixMicro(), ExpireTime: &expires,
	}
	body := order.body()
	digest := sha256.Sum256(encoding(body))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return err
	}
	thumbprint := sha256.Sum256(certificate)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	record := &kgo.Record{
		Topic: prefix + "orders.requested", Key: []byte(agent), Value: append(slices.Clone(framing), body...),
		Headers: []kgo.RecordHeader{{Key: "signature", Value: signature}, {Key: "x5t#S256", Value: thumbprint[:]}},
	}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return err
	}
	for {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("no verdict, so no approval: %w", err)
		}
		for _, answer := range fetches.Records() {
			clOrdID, decision, reason, err := readVerdict(answer.Value)
			if err == nil && clOrdID == order.ClOrdID {
				return json.NewEncoder(os.Stdout).Encode(map[string]string{"decision": decision, "reason": reason})
			}
		}
	}
}

func credentials(folder string) (*ecdsa.PrivateKey, []byte, error) {
	keyFile, err := os.ReadFile(folder + "/key.pem")
	if err != nil {
		return nil, nil, err
	}
	chainFile, err := os.ReadFile(folder + "/chain.pem")
	if err != nil {
		return nil, nil, err
	}
	keyBlock, _ := pem.Decode(keyFile)
	leaf, _ := pem.Decode(chainFile)
	if keyBlock == nil || leaf == nil {
		return nil, nil, errors.New("key and certificate in PEM required")
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	return key.(*ecdsa.PrivateKey), leaf.Bytes, nil
}

func main() {
	servers := flag.String("servers", "127.0.0.1:9092", "a broker")
	prefix := flag.String("prefix", "", "before each topic's name")
	agent := flag.String("agent", "", "the bot's agent_id")
	folder := flag.String("credentials", "", "the folder with key.pem and chain.pem")
	region := flag.String("region", "eu-west-1", "where the bot runs")
	flag.Parse()
	err := errors.New("vectors or order required")
	switch flag.Arg(0) {
	case "vectors":
		err = checkVectors()
	case "order":
		err = trade(*servers, *prefix, *agent, *folder, *region)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
