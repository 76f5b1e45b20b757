# What the Ruby rigs share: options, the listener, telling the harness when the leak is complete, and leaving when stdin
# ends. No client socket is touched here.
require "socket"

class Rig
  CLOSE_WAIT = 8
  REPLY = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  # Columns of /proc/net/tcp.
  LOCAL, STATE = 1, 3

  attr_reader :healthy, :listener

  def initialize
    @port, @connections, @healthy = 0, 5, false
    arguments = ARGV.dup
    until arguments.empty?
      case arguments.shift
      when "--port" then @port = Integer(arguments.shift)
      when "--upstream" then arguments.shift
      when "--connections" then @connections = Integer(arguments.shift)
      when "--healthy" then @healthy = true
      end
    end
    @listener = TCPServer.new("127.0.0.1", @port)
    @listener.listen(4096)
    @port = @listener.addr[1]
    @served, @reported = 0, false
    STDOUT.sync = true
    puts "ready #{@port}"
  end

  # Returns when a client waits to be accepted.
  def next
    loop do
      ready, = IO.select([STDIN, @listener], nil, nil, @reported ? nil : 0.02)
      exit!(0) if ready&.include?(STDIN)
      if ready&.include?(@listener)
        @served += 1
        return
      end
      report unless @reported
    end
  end

  private

  def report
    wanted = @healthy ? 0 : @connections
    return unless @served >= @connections && stuck == wanted

    @reported = true
    puts "leaking #{wanted}"
  end

  def stuck
    port = format(":%04X", @port)
    rows = File.readlines("/proc/self/net/tcp").drop(1).map(&:split)
    rows.count { |row| row[LOCAL].end_with?(port) && row[STATE].to_i(16) == CLOSE_WAIT }
  end
end
