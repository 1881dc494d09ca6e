"""The world around the gate, simulated: market tape, bots, paper venue, hostile senders, and the oracle that judges."""
