"""What outlives a process: messages, payloads, starts and outcomes; a change here needs a version."""
