import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Sixty classes, each of a loader of its own, read the end of a connection that is kept, and are dropped and collected. Others take
 * their place in memory. Prints which class had the connection from which port.
 */
public class Unloaded {
    /** Loaded sixty times under other names of the same length. */
    public static class Reader00 implements Work {
        @Override
        public int run(InputStream from) throws Exception {
            return read00(from, 100);
        }

        static int read00(InputStream from, int warm) throws Exception {
            int sum = 0;
            for (int i = 0; i < warm; i++) {
                sum += i % 7;
            }
            while (from.read() >= 0) {
                sum++;
            }
            return sum;
        }
    }

    public interface Work {
        int run(InputStream from) throws Exception;
    }

    static final class Loader extends ClassLoader {
        Class<?> define(byte[] code) {
            return defineClass(null, code, 0, code.length);
        }
    }

    static final List<Socket> held = new ArrayList<>();

    static Work load(byte[] code, int number) throws Exception {
        String text = new String(code, StandardCharsets.ISO_8859_1);
        String two = String.format("%02d", number);
        text = text.replace("Reader00", "Reader" + two).replace("read00", "read" + two);
        Class<?> made = new Loader().define(text.getBytes(StandardCharsets.ISO_8859_1));
        return (Work) made.getDeclaredConstructor().newInstance();
    }

    public static void main(String[] arguments) throws Exception {
        byte[] code;
        try (InputStream file = Unloaded.class.getResourceAsStream("Unloaded$Reader00.class")) {
            code = file.readAllBytes();
        }
        ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        for (int number = 0; number < 60; number++) {
            Work work = load(code, number);
            Socket connection;
            try (Socket peer = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
                connection = listener.accept();
                peer.getOutputStream().write('x');
            }
            held.add(connection);
            work.run(connection.getInputStream());
            System.out.println(number + " " + connection.getPort());
            if (number % 10 == 9) {
                work = null;
                System.gc();
            }
            Thread.sleep(Integer.parseInt(arguments[0]));
        }
        System.out.println("stuck");
        while (System.in.read() >= 0) {
        }
    }
}
