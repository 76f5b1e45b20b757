# Two methods, each with one call that reads to the end: same thread, same depth, same way through the virtual machine.
#
# Whoever tells them apart by native frames alone calls one by the other's name.

require "socket"

LISTENER = TCPServer.new("127.0.0.1", 0)
HELD = []

def read_orders(connection)
  connection.readpartial(100)
rescue EOFError
  nil
end

def read_stock(connection)
  connection.readpartial(100)
rescue EOFError
  nil
end

def connect_and_close(count)
  count.times do
    peer = TCPSocket.new("127.0.0.1", LISTENER.addr[1])
    peer.write("x")
    sleep 0.01
    peer.close
  end
end

def serve(count, keep)
  Thread.new { connect_and_close(count) }
  count.times do |number|
    connection = LISTENER.accept
    read = number.odd? ? :read_orders : :read_stock
    nil while send(read, connection)
    if keep
      HELD << connection
    else
      connection.close
    end
  end
end

STDOUT.sync = true
puts LISTENER.addr[1]
ARGV[0].to_i.times { serve(10, false) }
serve(10, true)
puts "stuck"
STDIN.read
