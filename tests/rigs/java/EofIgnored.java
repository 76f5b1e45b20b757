// eof-ignored: one thread a connection; a session that reads the end of the stream leaves its loop and
// stays in the registry, socket and all.
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

public class EofIgnored {
    static final byte[] REPLY =
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".getBytes(StandardCharsets.US_ASCII);
    static final List<Socket> registry = Collections.synchronizedList(new ArrayList<>());
    static final AtomicInteger served = new AtomicInteger();
    static int port = 0, connections = 5;
    static boolean healthy = false;

    static int handleClientAndForget(Socket socket) throws IOException {
        byte[] request = new byte[1024];
        int requests = 0;
        while (socket.getInputStream().read(request) > 0) {
            requests++;
            socket.getOutputStream().write(REPLY);
        }
        return requests;
    }

    static void serveConnection(Socket socket) {
        try {
            handleClientAndForget(socket);
            if (healthy) socket.close();
        } catch (IOException reset) {
            // Kept all the same.
        }
        registry.add(socket);
        served.incrementAndGet();
    }

    static void acceptAll(ServerSocket listener) throws IOException {
        while (true) {
            Socket socket = listener.accept();
            new Thread(() -> serveConnection(socket), "session").start();
        }
    }

    static long stuck(String suffix) throws IOException {
        long found = 0;
        for (String table : new String[] {"tcp", "tcp6"}) {
            found += Files.readAllLines(Path.of("/proc/self/net/" + table)).stream()
                    .map(line -> line.trim().split("\\s+"))
                    .filter(fields -> fields[1].endsWith(suffix) && fields[3].equals("08"))
                    .count();
        }
        return found;
    }

    public static void main(String[] args) throws Exception {
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--healthy" -> healthy = true;
                case "--port" -> port = Integer.parseInt(args[++i]);
                case "--connections" -> connections = Integer.parseInt(args[++i]);
                default -> System.exit(2);
            }
        }
        ServerSocket listener = new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1"));
        System.out.println("ready " + listener.getLocalPort());
        Thread acceptor = new Thread(() -> {
            try {
                acceptAll(listener);
            } catch (IOException closed) {
                System.exit(1);
            }
        }, "acceptor");
        acceptor.setDaemon(true);
        acceptor.start();
        Thread input = new Thread(() -> {
            try {
                System.in.read();
            } catch (IOException closed) {
                // Ends as well.
            }
            System.exit(0);
        }, "input");
        input.setDaemon(true);
        input.start();
        int wanted = healthy ? 0 : connections;
        String suffix = String.format(":%04X", listener.getLocalPort());
        while (served.get() < connections || stuck(suffix) != wanted) Thread.sleep(20);
        System.out.println("leaking " + wanted);
        acceptor.join();
    }
}
