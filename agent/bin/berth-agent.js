#!/usr/bin/env -S node --max-semi-space-size=1
// A small nursery: bursts of work would otherwise leave 40 MB of it behind, and an agent shares its host with guests.
import '../dist/berth-agent.js';
