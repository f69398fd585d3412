"""The bus and the shell: everything that stands between a core and the world.

runner              a process from its first to its last moment; read it first
shell               one turn: inputs in, effects out; poll_loop, event_loop   what drives it
doors               all sockets of a process: publisher, subscriber, requester, responder
event_reader, peers, repairer   events in order without a gap; who lives; asking for what was missed
frames, sockets     the bytes on the wire; how sockets are made
link                REST calls and streams, on the event loop
lock, latch, crash, journal, input_log, heartbeat, run_dir   what a process keeps and shows on disk
tap, client         listening to a group, and asking it one thing, from outside
"""
