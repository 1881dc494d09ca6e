"""The agents of one partition: gate, anomaly, registry, controls and post-trade, around one journal."""
