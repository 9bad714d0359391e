--- The version that heartbeats carry.
return "0.1.0"
