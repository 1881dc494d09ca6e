// Command go_verifier reads checkpoints and proofs written by Portcullis with the transparency ecosystem's own
// libraries. It takes one JSON document on standard input and prints one JSON line for each case.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type input struct {
	Origin      string            `json:"origin"`
	LogKey      string            `json:"log_vkey"`
	WitnessKey  string            `json:"witness_vkey"`
	Checkpoints []checkpointCase  `json:"checkpoints"`
	Proofs      []proofCase       `json:"proofs"`
	Inclusions  []inclusionCase   `json:"inclusions"`
	Consistency []consistencyCase `json:"consistency"`
}

type checkpointCase struct {
	Name string `json:"name"`
	Note string `json:"note"`
}

type proofCase struct {
	Name  string `json:"name"`
	Leaf  []byte `json:"leaf"`
	Proof string `json:"proof"`
}

type inclusionCase struct {
	Name  string   `json:"name"`
	Leaf  []byte   `json:"leaf"`
	Index uint64   `json:"index"`
	Size  uint64   `json:"size"`
	Root  []byte   `json:"root"`
	Path  [][]byte `json:"path"`
}

type consistencyCase struct {
	Name  string   `json:"name"`
	Size1 uint64   `json:"size1"`
	Root1 []byte   `json:"root1"`
	Size2 uint64   `json:"size2"`
	Root2 []byte   `json:"root2"`
	Path  [][]byte `json:"path"`
}

type result struct {
	Name       string `json:"name"`
	Error      string `json:"error,omitempty"`
	Origin     string `json:"origin,omitempty"`
	Size       int64  `json:"size,omitempty"`
	Root       []byte `json:"root,omitempty"`
	CosignedAt int64  `json:"cosigned_at_s,omitempty"`
}

func main() {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		log.Fatal(err)
	}
	logKey, err := note.NewVerifier(in.LogKey)
	if err != nil {
		log.Fatal(err)
	}
	witness, err := torchwood.NewCosignatureVerifier(in.WitnessKey)
	if err != nil {
		log.Fatal(err)
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(in.Origin), torchwood.SingleVerifierPolicy(logKey))
	out := json.NewEncoder(os.Stdout)
	report := func(r result, err error) {
		if err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			log.Fatal(err)
		}
	}
	for _, c := range in.Checkpoints {
		r, err := checkCheckpoint(c, in.Origin, logKey, witness)
		r.Name = c.Name
		report(r, err)
	}
	for _, c := range in.Proofs {
		report(result{Name: c.Name}, torchwood.VerifyProof(policy, tlog.RecordHash(c.Leaf), []byte(c.Proof)))
	}
	hasher := rfc6962.DefaultHasher
	for _, c := range in.Inclusions {
		report(result{Name: c.Name}, proof.VerifyInclusion(hasher, c.Index, c.Size, hasher.HashLeaf(c.Leaf), c.Path, c.Root))
	}
	for _, c := range in.Consistency {
		report(result{Name: c.Name}, proof.VerifyConsistency(hasher, c.Size1, c.Size2, c.Path, c.Root1, c.Root2))
	}
}

// checkCheckpoint opens a note with both keys known, so that a bad cosignature is an error too.
func checkCheckpoint(c checkpointCase, origin string, logKey, witness note.Verifier) (result, error) {
	opened, err := note.Open([]byte(c.Note), note.VerifierList(logKey, witness))
	if err != nil {
		return result{}, err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return result{}, err
	}
	r := result{Origin: checkpoint.Origin, Size: checkpoint.N, Root: checkpoint.Hash[:]}
	if checkpoint.Origin != origin {
		return r, fmt.Errorf("origin is %q", checkpoint.Origin)
	}
	byLog := false
	for _, signature := range opened.Sigs {
		switch signature.Hash {
		case logKey.KeyHash():
			byLog = true
		case witness.KeyHash():
			if r.CosignedAt, err = torchwood.CosignatureTimestamp(signature); err != nil {
				return r, err
			}
		}
	}
	if !byLog {
		return r, errors.New("the log has not signed")
	}
	return r, nil
}
