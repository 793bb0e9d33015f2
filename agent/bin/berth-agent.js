#!/usr/bin/env node
import '../dist/berth-agent.js';
