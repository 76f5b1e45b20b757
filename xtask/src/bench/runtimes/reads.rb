# Both ends of every connection in one thread. A line on stdin is a job: "reads N" or "connections N".
require "socket"

BATCH = 16_384
LISTEN = TCPServer.new("127.0.0.1", 0)

def pair
  near = TCPSocket.new("127.0.0.1", LISTEN.addr[1])
  [near, LISTEN.accept]
end

def take(server)
  server.recv(1)
end

def reads(count)
  while count.positive?
    now = [count, BATCH].min
    CLIENT.send("x" * now, 0)
    now.times { take(SERVER) }
    count -= now
  end
end

def connections(count)
  count.times do
    near, far = pair
    near.send("x", 0)
    take(far)
    near.close
    far.close
  end
end

CLIENT, SERVER = pair
while (line = $stdin.gets)
  kind, count = line.split
  kind == "reads" ? reads(count.to_i) : connections(count.to_i)
  $stdout.puts "done"
  $stdout.flush
end
