import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * What every Java rig shares: options, the address, telling the harness when the leak is complete,
 * and leaving when stdin ends. No client socket is touched here.
 */
final class Rig {
    static final byte[] REPLY = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".getBytes();
    private static final String CLOSE_WAIT = "08";

    int port;
    int connections = 5;
    /** Clients served before the ones that count. */
    int warmUp;
    boolean healthy;
    String cause = "";
    /** Whether the rig is the client: its sockets have the port at their far end. */
    boolean connects;
    private final AtomicInteger served = new AtomicInteger();

    Rig(String... arguments) {
        for (int i = 0; i < arguments.length; i++) {
            switch (arguments[i]) {
                case "--healthy":
                    healthy = true;
                    break;
                case "--cause":
                    cause = arguments[++i];
                    break;
                case "--port":
                    port = Integer.parseInt(arguments[++i]);
                    break;
                case "--connections":
                    connections = Integer.parseInt(arguments[++i]);
                    break;
                case "--warm-up":
                    warmUp = Integer.parseInt(arguments[++i]);
                    break;
                default:
                    throw new IllegalArgumentException(arguments[i]);
            }
        }
    }

    /** Loopback only. */
    InetSocketAddress address() throws IOException {
        return new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port);
    }

    /** Says where this rig listens (or whom it asks), and watches the leak from now on. */
    void ready(int port) {
        this.port = port;
        beThereForAWhile();
        System.out.println("ready " + port);
        start("rig-stdin", this::leaveWithStdin);
        start("rig-count", this::report);
    }

    /** As a service is: its runtime is known by then, for it has used a socket. */
    private void beThereForAWhile() {
        try (ServerSocket own = new ServerSocket(0, 1, address().getAddress())) {
            new Socket(own.getInetAddress(), own.getLocalPort()).close();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        pause(1000);
    }

    int served() {
        return served.incrementAndGet();
    }

    /** Prints "leaking N" once: when every expected socket is stuck, or a healthy run has none left. */
    private void report() {
        int wanted = healthy ? 0 : connections;
        while (true) {
            // Read first: what is served between the two looks may not be stuck yet.
            int done = served.get();
            int stuck = stuck();
            boolean complete = healthy
                    ? stuck == 0 && done >= warmUp + connections
                    : stuck >= wanted && done >= warmUp;
            if (complete) break;
            pause(100);
        }
        System.out.println("leaking " + wanted);
    }

    /** How many sockets are stuck with this rig's port, whoever holds them. */
    int stuck() {
        String end = String.format(":%04X", port);
        int found = 0;
        try {
            for (String table : List.of("tcp", "tcp6")) {
                for (String line : Files.readAllLines(Path.of("/proc/self/net", table))) {
                    // Whoever splits every line of a busy host's table makes the collector run.
                    if (!line.contains(end)) continue;
                    String[] field = line.trim().split("\\s+");
                    boolean ours = field[connects ? 2 : 1].endsWith(end);
                    if (ours && field[3].equals(CLOSE_WAIT)) found++;
                }
            }
        } catch (IOException unreadable) {
            throw new IllegalStateException(unreadable);
        }
        return found;
    }

    private void leaveWithStdin() {
        try {
            while (System.in.read() >= 0) { }
        } catch (IOException gone) {
            // Nobody is there to be told.
        }
        Runtime.getRuntime().halt(0);
    }

    static Thread start(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException unasked) {
            Thread.currentThread().interrupt();
        }
    }
}
